"""Continues prompts greedily in transformers, to compare package eval with.

    python generate_parity.py SPEC.json OUT.json

SPEC.json names an exported folder, prompts (token ids of different lengths), how many tokens to make, a repetition penalty and
the token that ends a text; OUT.json gets the new tokens of each prompt, made by `generate` one prompt at a time.
eval/oracle_test.go writes the one and reads the other.
"""

import json
import sys

import torch
import transformers


def main() -> None:
    torch.set_num_threads(2)
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    model = transformers.AutoModelForCausalLM.from_pretrained(spec["dir"])
    assert model.dtype == torch.float32
    model.eval()
    tokens = []
    for prompt in spec["prompts"]:
        ids = torch.tensor([prompt])
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=spec["new_tokens"],
            repetition_penalty=spec["penalty"],
            eos_token_id=spec["end"],
            pad_token_id=spec["end"],
        )[0, len(prompt) :].tolist()
        tokens.append(made[:-1] if made and made[-1] == spec["end"] else made)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"tokens": tokens, "transformers": transformers.__version__}, file)


if __name__ == "__main__":
    main()
