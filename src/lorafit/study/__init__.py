"""One recipe trained many times, with another method or other values each time, and what each led to in one table."""
