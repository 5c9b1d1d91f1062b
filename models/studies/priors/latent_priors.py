"""Densities p(u) of a latent that a small VAE can be given: from a normal to flows.

One interface, :class:`LatentPrior`: ``log_prob`` in nats and ``sample``. Latents are B×C×H×W. All
start at or near a standard normal, so that they can take over a VAE trained with one.

These are for comparison (:mod:`models.studies.priors.comparison`), in ordinary float arithmetic;
the codec's own prior of u is :mod:`models.ssvae.prior`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.quantization import round_through

Shape = tuple[int, int, int]
"""C, H, W of a latent."""

_LOG_2PI = math.log(2 * math.pi)
#: A coupling multiplies by at most e to this, and by at least its inverse.
LOG_SCALE_BOUND = 1.5


class LatentPrior(nn.Module):
    """p(u) for u of shape B×C×H×W.

    Attributes:
        shape: C, H, W.
        step: None where u is continuous and :meth:`log_prob` a density; else u lies on the
            multiples of this and :meth:`log_prob` is the logarithm of a probability.
    """

    def __init__(self, shape: Shape, *, step: float | None = None) -> None:
        super().__init__()
        self.shape, self.step = shape, step

    def log_prob(self, u: Tensor) -> Tensor:
        """log p(u) in nats, (B,)."""
        raise NotImplementedError

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        """``n`` draws, n×C×H×W; ``temperature`` multiplies the standard deviations of the base."""
        raise NotImplementedError


class StandardNormal(LatentPrior):
    """N(0, I), the prior of Kingma & Welling 2014. No parameters."""

    def log_prob(self, u: Tensor) -> Tensor:
        return normal_log_density(u, torch.zeros_like(u)).flatten(1).sum(1)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        return temperature * torch.randn(n, *self.shape, generator=generator)


class MixtureOfGaussians(LatentPrior):
    """At each position a mixture of diagonal Gaussians over the channels, the same everywhere.

    ``p(u) = ∏_hw Σ_k w_k N(u_:hw; m_k, diag s_k²)``. Crops of photographs have no preferred
    position, so the positions share the components, and each component sees ``B H W`` samples a
    step; a mixture over the whole vector could only tell apart as many images as it has components.
    What neighbours have to say about each other is left out.

    Args:
        components: number of Gaussians.
    """

    def __init__(self, shape: Shape, *, components: int) -> None:
        super().__init__(shape)
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(0.3 * torch.randn(components, shape[0]))
        self.log_scales = nn.Parameter(torch.zeros(components, shape[0]))

    def log_prob(self, u: Tensor) -> Tensor:
        x = u.flatten(2).transpose(1, 2)  # (B, HW, C)
        precision = torch.exp(-2 * self.log_scales)  # (K, C)
        # (x − m)² / s² summed over channels, as matrix products.
        square = x.square() @ precision.T - 2 * x @ (self.means * precision).T
        square = square + (self.means.square() * precision).sum(1)  # (B, HW, K)
        constant = self.log_scales.sum(1) + 0.5 * self.shape[0] * _LOG_2PI
        weighted = torch.log_softmax(self.logits, 0) - constant - 0.5 * square
        return torch.logsumexp(weighted, dim=2).sum(1)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        c, h, w = self.shape
        weights = torch.softmax(self.logits, 0)
        chosen = torch.multinomial(weights, n * h * w, replacement=True, generator=generator)
        noise = torch.randn(n * h * w, c, generator=generator)
        x = self.means[chosen] + temperature * self.log_scales.exp()[chosen] * noise
        return x.unflatten(0, (n, h * w)).transpose(1, 2).unflatten(2, (h, w))


class Conditioner(nn.Module):
    """The network inside a coupling: B×C×H×W → B×out×H×W, zero at the start.

    It grows no faster than its input. Gated blocks, which multiply features with each other, would
    let one outlier of u through eight couplings become as large as floats go.
    """

    def __init__(self, channels: int, out: int, width: int, *, depth: int = 2) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=width),
                nn.SiLU(),
                nn.Conv2d(width, width, 1),
            )
            for _ in range(depth)
        )
        self.leave = nn.Conv2d(width, out, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(F.silu(x))
        return self.leave(F.silu(x))


def coupling_masks(shape: Shape, count: int) -> Tensor:
    """What each of ``count`` couplings leaves alone, as ones: count×C×H×W.

    In turns a random half of the channels and its complement, then a checkerboard and its
    complement (Dinh et al. 2017, section 3.4): after four couplings every element has met both
    other channels and neighbours. A single channel or position leaves one kind of mask.
    """
    c, h, w = shape
    generator = torch.Generator().manual_seed(7)
    board = (torch.arange(h)[:, None] + torch.arange(w)) % 2 == 0
    masks: list[Tensor] = []
    while len(masks) < count:
        half = torch.randperm(c, generator=generator) < c // 2
        if c > 1:
            masks += [half[:, None, None].expand(shape), ~half[:, None, None].expand(shape)]
        if h * w > 1:
            masks += [board.expand(shape), ~board.expand(shape)]
        if not masks:
            raise ValueError("a coupling needs at least two elements")
    return torch.stack(masks[:count]).float()


class RealNVP(LatentPrior):
    """Affine couplings and a standard normal (Dinh et al. 2017, equations 7 to 9).

    Each coupling leaves the masked half a as it is and maps the other::

        b ← b · exp(s(a)) + t(a)        log|det| = Σ s(a),  s = 1.5 tanh(·)

    A learned scale and shift of each channel, after the last one, stands in for the paper's batch
    normalization. The determinant of the whole is the product, whatever the networks are.

    Args:
        couplings: how many; see :func:`coupling_masks`.
        width: channels of the networks inside.
    """

    masks: Tensor

    def __init__(self, shape: Shape, *, couplings: int, width: int) -> None:
        super().__init__(shape)
        c = shape[0]
        self.register_buffer("masks", coupling_masks(shape, couplings))
        self.networks = nn.ModuleList(Conditioner(c, 2 * c, width) for _ in range(couplings))
        self.log_scale = nn.Parameter(torch.zeros(c, 1, 1))
        self.shift = nn.Parameter(torch.zeros(c, 1, 1))

    def _affine(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log-scale and shift of a coupling, zero on the half that it leaves alone."""
        mask = self.masks[index]
        raw, shift = self.networks[index](mask * x).chunk(2, dim=1)
        return (1 - mask) * LOG_SCALE_BOUND * torch.tanh(raw), (1 - mask) * shift

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """u → base variable of the same shape, and log|det| of the Jacobian in nats, (B,)."""
        positions = self.shape[1] * self.shape[2]
        log_det = (positions * self.log_scale.sum()).expand(len(u))
        for index in range(len(self.networks)):
            log_scale, shift = self._affine(index, u)
            u = u * log_scale.exp() + shift
            log_det = log_det + log_scale.flatten(1).sum(1)
        return u * self.log_scale.exp() + self.shift, log_det

    def inverse(self, v: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        v = (v - self.shift) * torch.exp(-self.log_scale)
        for index in reversed(range(len(self.networks))):
            log_scale, shift = self._affine(index, v)
            v = (v - shift) * torch.exp(-log_scale)
        return v

    def log_prob(self, u: Tensor) -> Tensor:
        v, log_det = self(u)
        return normal_log_density(v, torch.zeros_like(v)).flatten(1).sum(1) + log_det

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        return self.inverse(temperature * torch.randn(n, *self.shape, generator=generator))


class IntegerDiscreteFlow(LatentPrior):
    """Additive couplings on a grid and mixtures of discretized logistics (Hoogeboom et al. 2019).

    u lies on the multiples of ``step``. Each coupling adds a rounded shift, so the grid maps to
    itself one to one and there is no determinant; straight-through rounding trains the networks::

        b ← b + step · round(t(a) / step)        P(u) = ∏ P_c(v),  v = flow(u)

    ``P_c`` is a mixture of logistics for each channel, integrated over the cell of width ``step``:
    a probability, which a range coder could use. It is what a RealNVP becomes when its latent has
    to be coded. The integers are u / step. The grid should be finer than the narrowest posteriors
    (docs/decisions/0014-priors.md); on a coarse one rounded shifts can do little (0006).

    Args:
        step: a power of two, so that floats on the grid are exact and so is the inverse.
        components: logistics in each mixture.

    Raises:
        ValueError: ``step`` is no power of two.
    """

    masks: Tensor
    step: float

    def __init__(
        self, shape: Shape, *, couplings: int, width: int, step: float, components: int = 5
    ) -> None:
        if step <= 0 or math.frexp(step)[0] != 0.5:
            raise ValueError(f"the step of the grid must be a power of two, not {step}")
        super().__init__(shape, step=step)
        c = shape[0]
        self.register_buffer("masks", coupling_masks(shape, couplings))
        self.networks = nn.ModuleList(Conditioner(c, c, width) for _ in range(couplings))
        self.logits = nn.Parameter(torch.zeros(c, components))
        self.means = nn.Parameter(torch.linspace(-1, 1, components).repeat(c, 1))
        self.log_scales = nn.Parameter(torch.full((c, components), -0.8))

    def _shift(self, index: int, x: Tensor) -> Tensor:
        """Whole multiples of the step, zero on the half that a coupling leaves alone."""
        mask = self.masks[index]
        return (1 - mask) * self.step * round_through(self.networks[index](mask * x) / self.step)

    def forward(self, u: Tensor) -> Tensor:
        """Grid → grid, one to one."""
        for index in range(len(self.networks)):
            u = u + self._shift(index, u)
        return u

    def inverse(self, v: Tensor) -> Tensor:
        """Undo :meth:`forward`, exactly."""
        for index in reversed(range(len(self.networks))):
            v = v - self._shift(index, v)
        return v

    def log_prob(self, u: Tensor) -> Tensor:
        v = self(u).flatten(2)[..., None]  # (B, C, HW, 1)
        mass = logistic_log_mass(v - self.means[:, None], self.log_scales[:, None], self.step)
        weighted = torch.log_softmax(self.logits, 1)[:, None] + mass  # (B, C, HW, K)
        return torch.logsumexp(weighted, dim=3).sum((1, 2))

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        c, h, w = self.shape
        weights = torch.softmax(self.logits, 1)
        chosen = torch.multinomial(weights, n * h * w, replacement=True, generator=generator)
        uniform = torch.rand(c, n * h * w, generator=generator).clamp(1e-7, 1 - 1e-7)
        scales = temperature * self.log_scales.exp().gather(1, chosen)
        v = self.means.gather(1, chosen) + scales * torch.logit(uniform)
        v = self.step * torch.round(v / self.step)
        return self.inverse(v.unflatten(1, (n, h, w)).transpose(0, 1))


def normal_log_density(difference: Tensor, log_scale: Tensor) -> Tensor:
    """log N(difference; 0, exp(log_scale)²) of each element, nats."""
    return -0.5 * (difference * torch.exp(-log_scale)).square() - log_scale - 0.5 * _LOG_2PI


def logistic_log_mass(
    difference: Tensor,
    log_scale: Tensor,
    width: float,
    *,
    first: Tensor | None = None,
    last: Tensor | None = None,
) -> Tensor:
    """Log-probability, in nats, of cells of a logistic distribution.

    With p and m the standardized upper and lower edge, ``σ(p) − σ(m) = σ(p) σ(−m) (1 − e^(m−p))``,
    which keeps its digits far out and in narrow cells.

    Args:
        difference: middle of the cell minus mean.
        log_scale: of the logistic, broadcast.
        width: of the cell.
        first, last: booleans; there the cell reaches to −∞ or to +∞.
    """
    inverse = torch.exp(-log_scale)
    upper = F.logsigmoid((difference + width / 2) * inverse)
    lower = F.logsigmoid((width / 2 - difference) * inverse)
    inside = torch.log(-torch.expm1(-width * inverse))
    mass = upper + lower + inside
    if first is not None:
        mass = torch.where(first, upper, mass)
    if last is not None:
        mass = torch.where(last, lower, mass)
    return mass
