"""Scores multiple-choice tests with transformers by the rules of the lm-evaluation-harness, to compare packages data/task, eval and
eval/metric with.

    python choice_parity.py SPEC.json OUT.json

SPEC.json names an exported folder, the model's context, and a file of JSON lines for each test; OUT.json gets, for each test, the
log-likelihood and the greedy flag of every choice, and whether each problem is right by acc and by acc_norm. Written from the rules
(task definitions and model.py of the harness, main of August 2026), one pair at a time and without its code.
eval/oracle_choice_test.go writes the one and reads the other.
"""

import json
import math
import re

import torch
import transformers

import parity


def clean(text):
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def hellaswag(d):
    context = clean(d["activity_label"] + ": " + d["ctx_a"] + " " + d["ctx_b"].capitalize())
    endings = [clean(e) for e in d["endings"]]
    return [(context, " " + e) for e in endings], endings, int(d["label"])


def winogrande(d):
    gap = d["sentence"].index("_")
    contexts = [d["sentence"][:gap] + d[name] for name in ("option1", "option2")]
    rest = d["sentence"][gap + 1 :].strip()
    return [(c, " " + rest) for c in contexts], contexts, {"1": 0, "2": 1}[d["answer"]]


def piqa(d):
    choices = [d["sol1"], d["sol2"]]
    return [(f"Question: {d['goal']}\nAnswer:", " " + c) for c in choices], choices, d["label"]


def openbookqa(d):
    choices = d["choices"]["text"]
    gold = d["choices"]["label"].index(d["answerKey"].lstrip())
    return [(d["question_stem"], " " + c) for c in choices], choices, gold


def arc(d):
    choices = d["choices"]["text"]
    gold = d["choices"]["label"].index(d["answerKey"])
    return [(f"Question: {d['question']}\nAnswer:", " " + c) for c in choices], choices, gold


def mathqa(d):
    options = re.findall(r"[abcd] \) .*?, |e \) .*?$", d["options"])
    choices = [o[4:].rstrip(" ,") for o in options]
    gold = "abcde".index(d["correct"])
    return [(f"Question: {d['Problem']}\nAnswer:", " " + c) for c in choices], choices, gold


LAYOUTS = {
    "hellaswag": hellaswag,
    "winogrande": winogrande,
    "piqa": piqa,
    "openbookqa": openbookqa,
    "arc_easy": arc,
    "arc_challenge": arc,
    "mathqa": mathqa,
}


def encode(tokenizer, context, continuation):
    moved = context[len(context.rstrip()) :]
    head = tokenizer.encode(context.rstrip(), add_special_tokens=False)
    whole = tokenizer.encode(context.rstrip() + moved + continuation, add_special_tokens=False)
    return head, whole[len(head) :]


def likelihood(model, head, target, limit):
    tokens = torch.tensor((head + target)[-(limit + 1) :])
    with torch.no_grad():
        logits = model(tokens[None, :-1]).logits[0]
    table = torch.log_softmax(logits, dim=-1)[-len(target) :]
    picked = table[torch.arange(len(target)), torch.tensor(target)]
    return float(picked.sum()), table.argmax(dim=-1).tolist() == target


def compute(spec):
    model = parity.language_model(spec["dir"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["dir"])
    out = {}
    for name, path in spec["tests"].items():
        with open(path, encoding="utf-8") as file:
            docs = [json.loads(line) for line in file]
        problems = []
        for doc in docs:
            pairs, choices, gold = LAYOUTS[name](doc)
            scores = [likelihood(model, *encode(tokenizer, *pair), spec["context"]) for pair in pairs]
            sums = [s for s, _ in scores]
            norms = [s / len(c) if c else -math.inf for s, c in zip(sums, choices)]  # as NumPy divides
            problems.append(
                {
                    "pairs": pairs,
                    "log_probs": sums,
                    "greedy": [g for _, g in scores],
                    "acc": sums.index(max(sums)) == gold,
                    "acc_norm": norms.index(max(norms)) == gold,
                }
            )
        out[name] = problems
    return {"tests": out}


if __name__ == "__main__":
    parity.answer(compute)
