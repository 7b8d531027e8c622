"""The report of an evaluation: one HTML page, JSON, and predictions as CSV."""

from vitaclip.evaluate.report.explanation_section import Explain, ExplanationSection, PromptKind
from vitaclip.evaluate.report.html import EvalSubject, check_report_folder, write_report

__all__ = ["EvalSubject", "Explain", "ExplanationSection", "PromptKind", "check_report_folder", "write_report"]
