"""The report as one HTML file: no scripts, no other files, light or dark as the system."""

from collections.abc import Iterator
from html import escape

from pocketrec_experiments.monitoring.drift import LARGE, MODERATE, Drift
from pocketrec_experiments.monitoring.report import MonitorReport
from pocketrec_experiments.monitoring.words import Table, headline, share, tables

_WIDTH, _HEIGHT, _GAP = 640, 120, 2
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
)
_STYLE = """
:root { color-scheme: light dark; --text: #1a1a1a; --back: #fff; --line: #ccc; --a: #777;
 --b: #0b62c4 }
@media (prefers-color-scheme: dark) {
 :root { --text: #eee; --back: #161616; --line: #444; --a: #999; --b: #6cb0ff }
}
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
 color: var(--text); background: var(--back) }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
caption, h2 { text-align: left; font-weight: 600; font-size: 1.2rem; margin: 1.5rem 0 .5rem }
th, td { padding: .25rem .75rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, th[scope=row] { text-align: left; font-weight: 400; white-space: nowrap }
thead th { font-weight: 600 }
.wide { overflow-x: auto }
svg { max-width: 100%; height: auto }
.expected { fill: var(--a) } .found { fill: var(--b) }
figure { margin: 1rem 0 } figcaption { font-size: .9rem }
"""


def page(report: MonitorReport) -> str:
    """Return the HTML of a report."""
    return "".join(_parts(report))


def _parts(report: MonitorReport) -> Iterator[str]:
    title = f"PocketRec: {report.bundle} in the field"
    yield '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield _POLICY
    yield f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n<body>\n<main>\n"
    yield f"<h1>{escape(title)}</h1>\n<p>{escape(headline(report))}</p>\n"
    yield f"<p>{escape(verdict(report))}</p>\n"
    if report.notes:
        notes = "".join(f"<li>{escape(note)}</li>\n" for note in report.notes)
        yield f"<h2>Notes</h2>\n<ul>\n{notes}</ul>\n"
    for table in tables(report):
        yield _table(table)
    drawn = [drift for drift in report.drifts if drift.psi is not None]
    if drawn:
        yield "<h2>Distributions</h2>\n"
        yield "<p>Left bar of each pair: training data. Right bar: the field.</p>\n"
    for drift in drawn:
        yield _bars(drift)
    yield "</main>\n</body>\n</html>\n"


def verdict(report: MonitorReport) -> str:
    """Return the first sentence: which distributions have changed."""
    changed = [d for d in report.drifts if d.state in (MODERATE, LARGE)]
    if not report.drifts:
        return "Drift is unknown: the release has no reference distributions."
    if not changed:
        return "No distribution has drifted from the training data."
    named = ", ".join(f"{d.what} ({d.state}, PSI {d.psi:.2f})" for d in changed)
    return f"Drifted from the training data: {named}."


def _table(table: Table) -> str:
    title, heads, rows = table
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    name = escape(title, quote=True)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{name}"><table>\n'
        f"<caption>{escape(title)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _bars(drift: Drift) -> str:
    """Draw the shares of the bins, training and field side by side."""
    pairs = list(zip(drift.bins, drift.shares_expected(), drift.shares_found(), strict=True))
    most = max(max(a, b) for _, a, b in pairs) or 1.0
    width = _WIDTH / len(pairs)
    bars = []
    for n, (name, *both) in enumerate(pairs):
        for side, (kind, value) in enumerate(zip(("expected", "found"), both, strict=True)):
            height = _HEIGHT * value / most
            x = n * width + side * (width - _GAP) / 2
            text = escape(f"{name}: {kind} {share(value)}")
            bars.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{_HEIGHT - height:.1f}" '
                f'width="{(width - _GAP) / 2:.1f}" height="{height:.1f}">'
                f"<title>{text}</title></rect>"
            )
    label = escape(f"{drift.what}: {drift.state}, PSI {drift.psi:.3f}; {drift.largest_change()}")
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img" aria-label="{escape(label, quote=True)}">{"".join(bars)}</svg>'
        f"<figcaption>{label}</figcaption></figure>\n"
    )
