"""Continues prompts greedily in transformers, to compare package eval with.

    python generate_parity.py SPEC.json OUT.json

SPEC.json names an exported folder, prompts (token ids of different lengths), how many tokens to make, a repetition penalty and
the token that ends a text; OUT.json gets the new tokens of each prompt, made by `generate` one prompt at a time.
eval/oracle_test.go writes the one and reads the other.
"""

import torch

import parity


def compute(spec):
    model = parity.language_model(spec["dir"])
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
    return {"tokens": tokens}


if __name__ == "__main__":
    parity.answer(compute)
