"""Fine-tunes an exported model in transformers, to compare package trainer with.

    python finetune_parity.py SPEC.json OUT.json

SPEC.json names the exported folder, batches (input_ids, labels with -100 where no token counts), and how to train: AdamW
without decay, a learning rate for each step, a clip norm. OUT.json gets the loss, transformers' own, and the gradient norm
before clipping of each step. trainer/finetune_test.go writes the one and reads the other.
"""

import torch

import parity


def compute(spec):
    model = parity.language_model(spec["dir"]).train()
    adam = torch.optim.AdamW(model.parameters(), lr=0.0, betas=tuple(spec["betas"]), eps=spec["eps"], weight_decay=0.0)
    losses, norms = [], []
    for lr, batch in zip(spec["lr"], spec["batches"], strict=True):
        for group in adam.param_groups:
            group["lr"] = lr
        adam.zero_grad()
        loss = model(input_ids=torch.tensor(batch["input_ids"]), labels=torch.tensor(batch["labels"])).loss
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), spec["clip_norm"]).item())
        adam.step()
        losses.append(loss.item())
    return {"losses": losses, "norms": norms}


if __name__ == "__main__":
    parity.answer(compute)
