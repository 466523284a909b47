"""Records as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from backnorm import __version__
from backnorm.errors.printable import printable
from backnorm.report.environment import environment
from backnorm.report.to_text import details

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.audit.record import Record

__all__ = ["to_junit"]

NAME = "backnorm audit"


def to_junit(records: Sequence[Record]) -> str:
    """Write records as JUnit XML: a test case for each target.

    Parameters
    ----------
    records
        One for each target.

    Returns
    -------
    str
        A document. A target that was not judged, or has findings that are not notes, is a failure.
        A target that could not be audited is an error, and one without a gradient is skipped if
        its forward pass has no findings. Notes are in the output of a test that passed.

    Notes
    -----
    Source: the elements that Jenkins and GitLab read. Of several failures in a case they keep one,
    so a case has one failure, with the text of all findings.
    """
    counts = {
        "tests": len(records),
        "failures": sum(record.audited and not record.clean for record in records),
        "errors": sum(not record.audited for record in records),
    }
    numbers = {name: str(count) for name, count in counts.items()} | {"time": _seconds(records)}
    root = ET.Element("testsuites", {"name": NAME, **numbers})
    skipped = sum(bool(record.forward_only) and record.clean for record in records)
    suite = ET.SubElement(root, "testsuite", {"name": NAME, "skipped": str(skipped), **numbers})
    properties = ET.SubElement(suite, "properties")
    for name, value in {"backnorm": __version__, **environment()}.items():
        ET.SubElement(properties, "property", {"name": name, "value": printable(value)})
    suite.extend(_case(record) for record in records)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(record: Record) -> ET.Element:
    names = {"classname": f"backnorm.audit.{record.kind}", "name": printable(record.target)}
    case = ET.Element("testcase", {**names, "time": _seconds([record])})
    text = "\n".join(details(record))
    if not record.clean:
        whys = [f"Not judged: {record.not_judged}."] if record.not_judged else []
        attributes = {
            "type": " ".join(dict.fromkeys(finding.code for finding in record.findings)),
            "message": printable(" ".join([*whys, *(finding.what for finding in record.findings)])),
        }
        ET.SubElement(case, "failure" if record.audited else "error", attributes).text = text
    elif record.forward_only:
        message = printable(f"Forward only: {record.forward_only}.")
        ET.SubElement(case, "skipped", {"message": message})
        ET.SubElement(case, "system-out").text = text
    elif record.findings or record.probes:
        ET.SubElement(case, "system-out").text = text
    return case


def _seconds(records: Sequence[Record]) -> str:
    return f"{sum(probe.seconds for record in records for probe in record.probes):.3f}"
