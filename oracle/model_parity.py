"""Runs an exported model in transformers, to compare package model with.

    python model_parity.py SPEC.json OUT.json

SPEC.json names the exported folder, batches, how to train and what to continue; OUT.json gets what transformers makes of
it: logits and every parameter's gradient at the start, the ids of a text, the greedy continuation of a prompt with its
cache, then losses and gradient norms of AdamW steps. model/oracle_test.go writes the one and reads the other.
"""

import json
import sys

import safetensors.torch
import torch
import transformers


def loss_of(model, batch, z_loss):
    """Mean cross-entropy of the targets that count, with z-loss, as the product defines it."""
    logits = model(input_ids=torch.tensor(batch["inputs"])).logits.float()
    targets = torch.tensor(batch["targets"])
    keep = targets >= 0
    norm = torch.logsumexp(logits, -1)
    picked = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return ((norm - picked + z_loss * norm**2) * keep).sum() / keep.sum(), logits


def greedy(model, prompt, count):
    """The most likely continuation, one token at a time with a cache."""
    ids, cache, out = torch.tensor(prompt), None, []
    for _ in range(count):
        step = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = step.past_key_values
        ids = step.logits[:, -1].argmax(-1, keepdim=True)
        out.append(ids[:, 0].tolist())
    return [list(row) for row in zip(*out)]


def train(model, spec):
    """Losses and gradient norms (before clipping) of the steps."""
    o, named = spec["optimizer"], dict(model.named_parameters())
    groups = [{"params": [named[n] for n in g["parameters"]], "weight_decay": g["weight_decay"]} for g in o["groups"]]
    assert sum(len(g["params"]) for g in groups) == len(named)
    adam = torch.optim.AdamW(groups, lr=0.0, betas=tuple(o["betas"]), eps=o["eps"])
    losses, norms = [], []
    for step, lr in enumerate(o["lr"]):
        for group in adam.param_groups:
            group["lr"] = lr
        adam.zero_grad()
        loss, _ = loss_of(model, spec["batches"][step % len(spec["batches"])], spec["z_loss"])
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip_norm"]).item())
        adam.step()
        losses.append(loss.item())
    return losses, norms


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    with open(sys.argv[1], encoding="utf-8") as file:
        spec = json.load(file)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(spec["dir"], output_loading_info=True)
    assert model.dtype == torch.float32 and not any(info.values()), info
    model.eval()
    out = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}, "class": type(model).__name__}
    loss, logits = loss_of(model, spec["batches"][0], spec["z_loss"])
    loss.backward()
    out["logits"] = logits.flatten().tolist()
    out["gradients"] = {name: p.grad.flatten().tolist() for name, p in model.named_parameters()}
    with torch.no_grad():
        out["tokens"] = greedy(model, spec["prompt"], spec["new_tokens"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["dir"])
    out["ids"] = tokenizer(spec["text"])["input_ids"]
    out["decoded"] = tokenizer.decode(out["ids"])
    out["eos"] = [tokenizer.eos_token_id, model.config.eos_token_id, model.generation_config.eos_token_id]
    tensors = safetensors.torch.load_file(spec["dir"] + "/model.safetensors")
    safetensors.torch.save_file(tensors, spec["again"], metadata={"format": "pt"})
    if spec["resave"]:
        model.save_pretrained(spec["resave"])
    out["losses"], out["norms"] = train(model, spec)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(out, file)


if __name__ == "__main__":
    main()
