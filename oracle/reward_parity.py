"""Scores texts with transformers' LlamaForSequenceClassification, to compare package eval with.

    python reward_parity.py SPEC.json OUT.json

SPEC.json names a folder, texts (token ids of different lengths) and, optionally, "make": the configuration of a model with random
weights that is written into the folder first. OUT.json gets the logit of each text: all in one batch, filled up on the right.
eval/oracle_reward_test.go and cmd/plasticity-worker/verifier_test.go write the one and read the other.
"""

import torch
import transformers

import parity


def make(settings, folder):
    """A model with random weights that say something, gains included."""
    torch.manual_seed(5)
    config = transformers.LlamaConfig(num_labels=1, initializer_range=0.2, **settings)
    model = transformers.LlamaForSequenceClassification(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.7, 1.3)
    model.save_pretrained(folder)


def compute(spec):
    if spec.get("make"):
        make(spec["make"], spec["dir"])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(spec["dir"])
    assert type(model).__name__ == "LlamaForSequenceClassification" and model.dtype == torch.float32
    model.eval()
    pad, longest = model.config.pad_token_id, max(map(len, spec["texts"]))
    ids = torch.tensor([text + [pad] * (longest - len(text)) for text in spec["texts"]])
    mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in spec["texts"]])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=mask).logits
    assert logits.shape == (len(spec["texts"]), 1)
    return {"logits": logits[:, 0].tolist()}


if __name__ == "__main__":
    parity.answer(compute)
