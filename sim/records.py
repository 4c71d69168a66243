"""Measurements as a table that other programs read."""

import csv
import io
from collections.abc import Mapping, Sequence


def to_csv(records: Sequence[Mapping[str, object]]) -> str:
    """CSV with a header: a row per record, at least one, all with the same names."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [*records[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" if isinstance(value, float) else value
                      for name, value in record.items()} for record in records)
    return out.getvalue()
