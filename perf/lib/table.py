"""Figures as a Markdown table and as a picture."""

from html import escape


def number(value):
    """Three digits that say something."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def markdown(columns, rows):
    """A table; the first column to the left, the others to the right."""
    lines = ["| " + " | ".join(columns) + " |",
             "|---|" + "---:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


COLOURS = ["#0b6e4f", "#c1440e", "#3d5a80", "#8d6a9f", "#7a7a7a", "#b59f3b"]


def bars(title, unit, names, groups):
    """An SVG of bars in groups: `groups` is a list of (label, {name: value}). Bars of a group share a scale, because
    only the ratios within it mean anything."""
    row, width, left, right = 16, 900, 230, 110
    height = 54 + sum(26 + row * sum(1 for name in names if values.get(name) is not None) for _, values in groups)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="10" y="22" font-size="16">{escape(title)}</text>']
    top = 44
    for label, values in groups:
        shown = [(name, values[name]) for name in names if values.get(name) is not None]
        longest = max((value for _, value in shown), default=0) or 1
        out.append(f'<text x="10" y="{top + 10}" font-weight="bold">{escape(label)}</text>')
        top += 16
        for name, value in shown:
            length = max(1, (width - left - right) * value / longest)
            colour = COLOURS[names.index(name) % len(COLOURS)]
            out.append(f'<text x="{left - 8}" y="{top + 11}" text-anchor="end">{escape(name)}</text>')
            out.append(f'<rect x="{left}" y="{top + 1}" width="{length:.1f}" height="{row - 3}" fill="{colour}"/>')
            out.append(f'<text x="{left + length + 6:.1f}" y="{top + 11}">{number(value)} {escape(unit)}</text>')
            top += row
        top += 10
    out.append("</svg>")
    return "\n".join(out) + "\n"
