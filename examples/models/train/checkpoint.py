"""The checkpoint file of a training: the weights, their moving average, and the progress."""
import os

import torch

NAME = "ckpt.pt"


def has_checkpoint(work):
    return os.path.exists(os.path.join(work, NAME))


def save_checkpoint(work, **content):
    """Writes the checkpoint; replaces the old one only when the new one is complete."""
    partial = os.path.join(work, NAME + ".partial")
    torch.save(content, partial)
    os.replace(partial, os.path.join(work, NAME))


def load_checkpoint(work, device="cpu"):
    return torch.load(os.path.join(work, NAME), map_location=device)
