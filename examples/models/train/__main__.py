"""Train, quantise, export and check a demo model.

  python3 -m train --arch gemma train  --train train-v1.1-44-articles.json --work run/gemma --steps 4400
  python3 -m train --arch gemma export --work run/gemma --out gemma-demo.Q4_K_M.gguf
  python3 -m train --arch gemma eval   --work run/gemma --gguf gemma-demo.Q4_K_M.gguf --dev dev-v1.1.json
  python3 -m train --arch gemma verify --work run/gemma --gguf gemma-demo.Q4_K_M.gguf --dev dev-v1.1.json

train   trains the tokenizer and the model; writes tok.* and ckpt.pt (the weights and their moving
        average) to --work
export  quantises with the quantisers of this package and writes a GGUF version 3 file
eval    answers fixed random dev questions greedily: EM and F1 with the official SQuAD normalisation, for
        short contexts (the answer's sentence and one on either side) and whole paragraphs; with --gguf,
        the dequantised weights of that file are used, so the scores are those of the published file
verify  compares the logits of torch (with the file's weights, and with the unquantised ones if they are in
        --work) with those of an independent numpy program (tests/golden/reference.py)

Needs: Python >= 3.9, torch >= 1.13, numpy, sentencepiece. A CUDA device is used when there is one; on a
CPU with AVX512-BF16 the matrix products of the training run in bfloat16. --seed fixes every random draw;
results are equal up to the floating-point differences between machines. With --minutes the schedule
follows the clock, so such a run does not repeat exactly; with --steps alone it does.
"""
import argparse
from pathlib import Path

import torch

from .configs import CONFIGS
from .evaluation import evaluate
from .export import export
from .training import train
from .verification import verify

REFERENCE = Path(__file__).resolve().parents[3] / "tests" / "golden" / "reference.py"


def add_train(p):
    p.add_argument("--train", required=True, metavar="FILE", help="SQuAD training file")
    p.add_argument("--dev", metavar="FILE", help="SQuAD dev file, to score now and then")
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--tokens", type=int, default=2560, help="per step")
    p.add_argument("--lr", type=float, default=0.02, help="matrices (Muon)")
    p.add_argument("--lr-emb", type=float, default=0.003, help="embedding and norms (Adam)")
    p.add_argument(
        "--decay", type=float, default=0.6, help="share of the run over which the rate falls to zero"
    )
    p.add_argument(
        "--minutes", type=float, help="stop, and schedule, by the clock where that is sooner than --steps"
    )
    p.add_argument("--init", metavar="FILE", help="start from the averaged weights of this checkpoint")
    p.add_argument(
        "--begin", type=float, default=0.0, help="where in the curriculum to start, 0..1 (with --init)"
    )
    p.add_argument("--pointer", type=float, default=0.4, help="weight of the pointer loss")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--saves", type=int, default=4, help="checkpoints during the run")
    p.add_argument("--fp32", action="store_true", help="no bfloat16")


def add_export(p):
    p.add_argument("--out", required=True, metavar="FILE")
    p.add_argument("--raw", action="store_true", help="the last weights, not their moving average")


def add_eval(p):
    p.add_argument("--gguf", metavar="FILE")
    p.add_argument("--dev", required=True, metavar="FILE")
    p.add_argument("--n", type=int, default=300, help="questions")
    p.add_argument("--show", type=int, default=5, help="samples of right and of wrong answers")
    p.add_argument("--json", metavar="FILE", help="write scores and answers")
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--quick", action="store_true", help="one prompt form only")


def add_verify(p):
    p.add_argument("--gguf", required=True, metavar="FILE")
    p.add_argument("--dev", required=True, metavar="FILE")
    p.add_argument("--reference", default=REFERENCE, metavar="FILE")
    p.add_argument("--n", type=int, default=4, help="prompts")


def main():
    parser = argparse.ArgumentParser(
        prog="python3 -m train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", choices=CONFIGS, required=True)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, add_arguments in (
        ("train", train, add_train),
        ("export", export, add_export),
        ("eval", evaluate, add_eval),
        ("verify", verify, add_verify),
    ):
        p = commands.add_parser(name)
        p.set_defaults(run=run)
        p.add_argument(
            "--work", required=True, metavar="FOLDER", help="of the tokenizer and the checkpoint"
        )
        p.add_argument("--threads", type=int, default=1)
        add_arguments(p)
        if name != "train":
            p.add_argument(
                "--train", metavar="FILE", help="to make the tokenizer again where --work has none"
            )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.run(args)


if __name__ == "__main__":
    main()
