"""Muon (orthogonalised momentum) for the matrices of the blocks, Adam for embedding and norms.

Muon: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. Matrices of equal
shape are updated together.
"""
from collections import defaultdict

import torch

MOMENTUM, WEIGHT_DECAY = 0.95, 0.02
NEWTON_SCHULZ = (
    3.4445,
    -4.7750,
    2.0315,
)  # X -> aX + (bA + cA^2)X with A = XX^T moves singular values to about 1
NEWTON_SCHULZ_STEPS = 4


def orthogonalised(x):
    """[n, rows, columns]: each matrix with its singular values moved to about 1."""
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Optimiser:
    def __init__(self, model, matrix_rate, vector_rate):
        self.matrix_rate, self.vector_rate, self.compute_type = matrix_rate, vector_rate, model.compute_type
        self.matrices = defaultdict(list)
        for p in model.weights.values():
            if p.ndim == 2:
                self.matrices[tuple(p.shape)].append(p)
        self.momentum = {
            shape: torch.zeros(len(ps), *shape, device=ps[0].device) for shape, ps in self.matrices.items()
        }
        self.embedding = model.embedding
        norms = [p for p in model.weights.values() if p.ndim == 1] + [model.norm]
        self.adam = torch.optim.AdamW(
            [dict(params=[model.embedding]), dict(params=norms)],
            lr=vector_rate,
            betas=(0.9, 0.97),
            weight_decay=0.0,
        )

    @torch.no_grad()
    def step(self, factor):
        """Updates all weights once, with `factor` times the learning rates."""
        for group in self.adam.param_groups:
            group["lr"] = self.vector_rate * factor
        torch.nn.utils.clip_grad_norm_([self.embedding], 1.0)
        self.adam.step()
        for shape, parameters in self.matrices.items():
            self._step_matrices(shape, parameters, self.matrix_rate * factor)

    def _step_matrices(self, shape, parameters, rate):
        gradient = torch.stack([p.grad for p in parameters])
        momentum = self.momentum[shape]
        momentum.mul_(MOMENTUM).add_(gradient, alpha=1 - MOMENTUM)
        x = gradient * (1 - MOMENTUM) + momentum * MOMENTUM  # Nesterov
        x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-9)
        x = orthogonalised(x.to(self.compute_type))
        scale = max(1, shape[0] / shape[1]) ** 0.5
        for p, update in zip(parameters, x):
            p.mul_(1 - rate * WEIGHT_DECAY).add_(update.float(), alpha=-rate * scale)
