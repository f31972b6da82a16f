"""Training and judging one net; what was trained once is kept, so that experiments share rows.

Rows that are compared get the same number of steps, pictures a step and learning rate, and the same KL warm-up (its
weight rises to 1 in the first part of the run, with no free bits after, so nothing but -ELBO decides what the latents
hold) or, where that is said of a row, none. Of the averaged weights those of the step that does best on validation
pictures are judged on test pictures. A row is one run of one seed.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vlae_codec.models.optim import Muon

from .likelihoods import likelihood, normal
from .nets import Net, Terms
from .sets import Set, draw


class Buildable(Protocol):
    """What says what a net is: `nets.Spec`, or another."""

    @property
    def decoder(self) -> str: ...

    def to_dict(self) -> dict[str, Any]: ...

    def build(self) -> Any: ...


@dataclass(frozen=True)
class Budget:
    """What a row may spend."""

    steps: int = 2000
    batch: int = 64
    rate: float = 2e-3  # peak; falls to nothing as a cosine
    warmup: float = 0.3  # part of the run in which the KL weight rises to 1
    ema: float = 0.998
    looks: int = 10  # at validation pictures, in the second half
    seed: int = 1


def trained(spec: Buildable, data: Set, budget: Budget, work: Path, device: str = "cpu") -> tuple[Any, dict[str, Any]]:
    """The net and facts about its run (seconds, steps of the best look); from `work` if it was trained before."""
    key = json.dumps([spec.to_dict(), data.name, asdict(budget)], sort_keys=True)
    path = work / f"{data.name}-{spec.decoder}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.pt"
    net = spec.build().to(device)
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        return net.eval(), state["facts"]
    weights, facts = _train(spec, data, budget, device, label=path.stem)
    work.mkdir(parents=True, exist_ok=True)
    torch.save({"net": weights, "facts": facts, "key": key}, path)
    net.load_state_dict(weights)
    return net.eval(), facts


def _train(
    spec: Buildable, data: Set, budget: Budget, device: str, label: str
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    torch.manual_seed(budget.seed)
    net, mean = spec.build().to(device), spec.build().to(device).eval()
    mean.load_state_dict(net.state_dict())
    optimiser = Muon(net.parameters(), lr=budget.rate)
    train, valid = data.train.to(device), data.valid[:1000].to(device)
    best, start, shown = math.inf, time.perf_counter(), list[float]()
    facts: dict[str, Any] = {"best_step": 0}
    weights = mean.state_dict()
    looks = {budget.steps - i * budget.steps // (2 * budget.looks) for i in range(budget.looks)}
    for step in range(1, budget.steps + 1):
        part = step / budget.steps
        for group in optimiser.param_groups:
            group["lr"] = budget.rate * min(1.0, step / 100) * 0.5 * (1 + math.cos(math.pi * part))
        x = train[torch.randint(len(train), (budget.batch,), device=device)]
        x = draw(x) if data.dynamic else x
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            terms = net(x)
        weight = min(1.0, 0.01 + part / budget.warmup) if budget.warmup else 1.0
        loss = (terms.local + weight * terms.kl + terms.aside).mean()
        optimiser.zero_grad(set_to_none=True)
        (loss / x[0].numel()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimiser.step()
        with torch.no_grad():
            keep = min(budget.ema, step / (step + 20))
            for slow, fast in zip(mean.parameters(), net.parameters()):
                slow.lerp_(fast, 1 - keep)
        shown.append(loss.item())
        if step in looks or step % 250 == 0:
            judged = {name: value.mean().item() for name, value in terms_of(mean, valid).items()}
            rate = (time.perf_counter() - start) / step
            print(
                f"{label} step {step}: train {sum(shown) / len(shown):.2f}, valid {judged['total']:.2f}"
                f" (KL {judged['kl']:.2f}), {rate:.3f} s a step",
                flush=True,
            )
            shown = []
            if step in looks and judged["total"] < best:
                best, facts["best_step"] = judged["total"], step
                weights = {name: value.clone() for name, value in mean.state_dict().items()}
    facts["seconds"] = time.perf_counter() - start
    facts["weights"] = sum(p.numel() for p in net.parameters())
    return weights, facts


@torch.no_grad()
def terms_of(net: nn.Module, x: Tensor, samples: int = 1, size: int = 250) -> dict[str, Tensor]:
    """Terms of -ELBO of each picture in nats, (N,), the mean of some samples of z; seeded, and nothing else is
    disturbed."""
    device = next(net.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        runs = [_joined([net(part.to(device)) for part in x.split(size)]) for _ in range(samples)]
    names = ("local", "prior", "posterior", "kl", "total")
    return {name: torch.stack([getattr(run, name) for run in runs]).mean(0).cpu() for name in names}


def _joined(parts: list[Terms]) -> Terms:
    return Terms(*(torch.cat([getattr(part, name) for part in parts]) for name in ("local", "prior", "posterior")))


@torch.no_grad()
def importance(net: Net, x: Tensor, samples: int = 512, size: int = 256) -> Tensor:
    """-log p(x) of each picture by importance sampling (Burda et al. 2016), nats, (N,): the paper's metric.

    An upper bound in expectation that falls with the number of samples; without latents exact.
    """
    device = next(net.parameters()).device
    if net.encoder is None or net.prior is None:
        return terms_of(net, x)["total"]
    found = []
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for picture in x.split(1):
            picture = picture.to(device)
            mean, deviation = net.posterior(picture)
            logs = []
            for begin in range(0, samples, size):
                n = min(size, samples - begin)
                z = mean + torch.exp(deviation) * torch.randn(n, mean.shape[1], device=device)
                many = picture.expand(n, -1, -1, -1)
                local = likelihood(net.parameters_of(z, many), many, net.spec.levels)
                logs.append(local + net.prior(z) - normal(z, mean, deviation))
            found.append(math.log(samples) - torch.logsumexp(torch.cat(logs), 0))
    return torch.stack(found).cpu()


def spread_out(x: Tensor, count: int) -> Tensor:
    """So many pictures at even distances: the test file of static MNIST is not shuffled."""
    return x[:: max(1, len(x) // count)][:count]
