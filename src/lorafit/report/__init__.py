"""A run folder to one self-contained page: `lorafit.report.page.write_report`."""
