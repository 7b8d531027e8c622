"""The report of an evaluation: one HTML page, JSON, and predictions as CSV."""

from vitaclip.report.html import check_report_folder, film_strip, render_template, write_report

__all__ = ["check_report_folder", "film_strip", "render_template", "write_report"]
