"""The training loop: weighted next-token loss, the pointer loss, and a moving average of the weights."""
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

from .batches import Batcher
from .checkpoint import save_checkpoint
from .configs import CONFIGS
from .curriculum import Curriculum
from .decoding import answers
from .model import POINTING_LAYERS, Model
from .optimiser import Optimiser
from .prompts import Prompter
from .scoring import score
from .sequences import SequenceMaker
from .squad import dev_sample, load
from .tokenizers import find_or_train

WARM_UP_STEPS, REPORT_EVERY = 40, 50
ANSWER_WEIGHT = 0.5  # weights of at least this are of answers
DEV_QUESTIONS, DEV_SEED = 120, 99


class Schedule:
    """The progress of the run, by steps or, with `minutes`, by the time if that is further; then a run
    cannot be repeated exactly."""

    def __init__(self, steps, minutes, decay, begin):
        self.steps, self.minutes, self.decay, self.begin = steps, minutes, decay, begin
        self.start, self.step = time.time(), 0

    def seconds(self):
        return time.time() - self.start

    def done(self):
        """The completed share of the run."""
        return max(self.step / self.steps, self.seconds() / (60 * self.minutes) if self.minutes else 0.0)

    def stage(self):
        """The position in the curriculum, from `begin` to 1."""
        return self.begin + (1 - self.begin) * min(1.0, self.done())

    def rate(self):
        """The factor of the learning rates: a warm-up, a plateau, and a linear fall over the last `decay`
        of the run."""
        return min(1.0, (self.step + 1) / WARM_UP_STEPS) * min(1.0, max(0.0, 1 - self.done()) / self.decay)


class Average:
    """Exponential moving average of a model's weights, over few steps at first."""

    def __init__(self, model):
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model, step):
        keep = min(0.995, step / (step + 20))
        for k, v in model.state_dict().items():
            self.weights[k].lerp_(v, 1 - keep)


def losses(model, batch):
    """(weighted loss, mean loss of the answers' tokens, mean loss of each pointing layer)."""
    hidden, pointing = model.hidden(batch.ids, batch.positions, batch.mask, batch.pointers)
    per_token = F.cross_entropy(
        model.logits(hidden.flatten(0, 1)[batch.places]), batch.targets, reduction="none"
    )
    loss = (per_token * batch.weights).sum() / batch.weights.sum()
    answer = per_token.detach()[batch.weights >= ANSWER_WEIGHT].mean()
    return loss, answer, [p.mean() for p in pointing] if len(batch.pointers[0]) else []


def report(schedule, seen, means):
    loss, answer, *pointing = means
    print(
        f"step {schedule.step} tok {seen / 1e6:.2f}M {seen / schedule.seconds():.0f} tok/s loss {loss:.3f} "
        f"answer {answer:.3f} pointers {' '.join(f'{p:.2f}' for p in pointing)} t {schedule.seconds():.0f}s",
        flush=True,
    )


def report_dev(model, average, prompter, questions, device):
    """Prints the scores of the averaged weights on dev questions, which are not trained on."""
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average.weights)
    for which in ("short", "full"):
        predictions = answers(model, prompter, questions, which, "plain", False, device)
        exact, f1 = score(predictions, [q.golds for q in questions])
        print(f"  dev({len(questions)}) {which}: EM {exact:.1f} F1 {f1:.1f}", predictions[:6], flush=True)
    model.load_state_dict(kept)


def train(args):
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    os.makedirs(args.work, exist_ok=True)
    config, paragraphs = CONFIGS[args.arch], load(args.train)
    tokenizer = find_or_train(config, args.work, args.train)
    prompter = Prompter(config, tokenizer)
    model = Model(config, args.seed).to(device)
    model.compute_type = torch.float32 if args.fp32 else torch.bfloat16
    if args.init:
        model.load_state_dict(torch.load(args.init, map_location=device)["average"])
    print(
        f"{args.arch}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, "
        f"{len(paragraphs)} "
        f"paragraphs, {sum(len(p.questions) for p in paragraphs)} questions",
        flush=True,
    )
    maker = SequenceMaker(Curriculum(paragraphs, args.seed), prompter, tokenizer)
    batcher = Batcher(maker, config, tokenizer, device)
    optimiser, average = Optimiser(model, args.lr, args.lr_emb), Average(model)
    dev = dev_sample(args.dev, DEV_QUESTIONS, DEV_SEED) if args.dev else None
    schedule = Schedule(args.steps, args.minutes, args.decay, args.begin)
    seen, saved, recent = 0, 0, []
    for batch in batcher.batches(schedule.stage, args.tokens):
        rate = schedule.rate()
        loss, answer, pointing = losses(model, batch)
        model.zero_grad(set_to_none=True)
        (loss + args.pointer * (sum(pointing) / len(pointing) if pointing else 0.0)).backward()
        optimiser.step(rate)
        schedule.step += 1
        seen += batch.ids.numel()
        average.update(model, schedule.step)
        recent.append(
            (loss.item(), answer.item(), *([p.item() for p in pointing] or [0.0] * POINTING_LAYERS))
        )
        if schedule.step % REPORT_EVERY == 0:
            report(schedule, seen, np.mean(recent, 0))
            recent.clear()
        over = schedule.done() >= 1
        if over or int(schedule.done() * args.saves) > saved:
            saved = int(schedule.done() * args.saves)
            save_checkpoint(
                args.work,
                model=model.state_dict(),
                average=average.weights,
                step=schedule.step,
                steps=args.steps,
                tokens=seen,
                seed=args.seed,
            )
            if dev:
                report_dev(model, average, prompter, dev, device)
        if over:
            return
