"""Write a study's report: the page, tables for programs, and figures, under OUT/studies/NAME."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from common import result_flags
from common.errors import InputError
from common.files import read_json, sha256_bytes, write_bytes, write_json, write_text
from common.studies import figures, source_figures
from common.studies.contents import Contents, gather
from common.studies.page import page
from common.studies.picture import Picture
from common.studies.plan import Plan, is_done
from common.studies.tables import overlaps_csv, report_json, results_csv, summary_csv
from common.tickets import overlap

PAGE = "report.html"
_FILES = (PAGE, "results.csv", "summary.csv", "overlaps.csv", "report.json")


def write_report(plan: Plan) -> dict[str, Any]:
    """Write all files of a report; return the content of report.json.

    Raises:
        InputError: results that must not be compared, or a folder that cannot be written.
    """
    contents = gather(plan)
    pictures = _pictures(contents)
    for old in (plan.folder / "figures").glob("*.png"):
        old.unlink()  # of a transfer that the study no longer has
    for picture in pictures:
        write_bytes(plan.folder / "figures" / f"{picture.name}.png", picture.png)
    write_text(plan.folder / PAGE, page(contents, pictures))
    write_text(plan.folder / "results.csv", results_csv(contents))
    write_text(plan.folder / "summary.csv", summary_csv(contents))
    write_text(plan.folder / "overlaps.csv", overlaps_csv(contents))
    report = report_json(contents, fingerprint(plan))
    write_json(plan.folder / "report.json", report)
    return report


def current_report(plan: Plan) -> dict[str, Any] | None:
    """Return the content of report.json if it is whole and nothing it was made from has changed since."""
    if not all((plan.folder / name).is_file() for name in _FILES):
        return None
    try:
        report = read_json(plan.folder / "report.json")
    except InputError:
        return None
    return report if report.get("fingerprint") == fingerprint(plan) else None


def fingerprint(plan: Plan) -> str:
    """Return a hash of all that a report depends on: study file, plan, results, tickets' sizes, and the source that writes it."""
    digest = hashlib.sha256()
    files = [plan.study.file, *sorted(Path(__file__).parent.glob("*.py")), Path(overlap.__file__), Path(result_flags.__file__)]
    for job in plan.jobs:
        digest.update(repr((job.id, job.argv, str(job.run), job.status, is_done(job))).encode())
        files += [job.run / "run.json", job.run / "result.json"]
        if job.kind == "search":
            files += sorted(job.run.glob("round_*/result.json"))
            digest.update(
                repr(
                    [(file.parent.name, file.stat().st_size) for file in sorted(job.run.glob("round_*/ticket.safetensors"))]
                ).encode()
            )
    for file in files:
        content = file.read_bytes() if file.is_file() else b""
        digest.update(f"{file.name}\0{sha256_bytes(content)}\0".encode())
    return digest.hexdigest()


def _pictures(contents: Contents) -> list[Picture]:
    searches = [search.name for search in contents.plan.study.searches]
    drawn = [source_figures.sources(task, searches) for task in contents.tasks]
    drawn += [figures.curves(finding) for finding in contents.findings]
    drawn += [source_figures.rounds(contents.searches), *(figures.layers(search) for search in contents.searches)]
    drawn += [source_figures.overlaps(contents.overlaps, searches)]
    return [picture for picture in drawn if picture is not None]
