"""The study's report.html, in the dress of a run's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.page.charts import Scale, scale_of
from harness.report.page.figures import FIGURES
from harness.report.page.frame import render
from harness.sglang_plugin.policy import SITES
from harness.study.model import MeasuredPolicy, MeasuredSite, StudyReport
from harness.study.plan import PR_CODEC
from harness.study.plots import SMALLEST
from harness.study.words import by_harm, said_time

TEMPLATE = "study.html.jinja"
TOP, BOTTOM = 14.0, 250.0
MOST_HARMFUL = 8


@dataclass(frozen=True, kw_only=True)
class HarmAgainstBytes:
    """The first ranks' policies, harm on a logarithmic scale.

    Attributes:
        across: Of bytes over a plain ring's.
        up: Of the decimal logarithm of KL divergences.
        policies: What is drawn.
    """

    across: Scale
    up: Scale
    policies: list[MeasuredPolicy]

    def height(self, kl: float) -> float:
        """Return where a KL divergence is."""
        return self.up.at(math.log10(max(kl, SMALLEST)))


@dataclass(frozen=True, kw_only=True)
class HarmMap:
    """One codec at each site alone.

    Attributes:
        codec: The codec.
        layers: How many there are.
        cells: Each site with its shade, 0 to 1 by the logarithm of its harm.
        worst: The sites that do the most.
        total: The sum of all sites' harms, nats a token.
    """

    codec: str
    layers: int
    cells: list[tuple[MeasuredSite, float]]
    worst: list[MeasuredSite]
    total: float


def page(report: StudyReport) -> str:
    """Return a study's report as a page: the same for the same report."""
    codecs = dict.fromkeys(site.codec for site in report.sites)
    return render(
        TEMPLATE,
        folder=Path(__file__).parent,
        filters=FIGURES,
        report=report,
        harm=_harm(report),
        maps=[_map([site for site in report.sites if site.codec == codec]) for codec in codecs],
        policies=by_harm(report.candidates),
        said_time=said_time,
        pr_codec=PR_CODEC,
        site_names=SITES,
    )


def _harm(report: StudyReport) -> HarmAgainstBytes | None:
    policies = [policy for policy in report.candidates if policy.ranks == report.ranks[0]]
    if not policies:
        return None
    harms = [
        math.log10(max(kl, SMALLEST)) for policy in policies for kl in (policy.kl.low, policy.kl.mean, policy.kl.high)
    ]
    return HarmAgainstBytes(
        across=scale_of([policy.bytes_over_ring for policy in policies], start=60.0, least=0.05),
        up=scale_of([*harms, math.log10(report.budget_kl)], start=BOTTOM, end=TOP, least=1.0),
        policies=policies,
    )


def _map(sites: Sequence[MeasuredSite]) -> HarmMap:
    harms = [math.log10(max(site.kl, SMALLEST)) for site in sites]
    low, high = min(harms), max(harms)
    return HarmMap(
        codec=sites[0].codec,
        layers=max(site.layer for site in sites) + 1,
        cells=[
            (site, (harm - low) / (high - low) if high > low else 1.0)
            for site, harm in zip(sites, harms, strict=True)
        ],
        worst=sorted(sites, key=lambda site: -site.kl)[:MOST_HARMFUL],
        total=sum(site.kl for site in sites),
    )
