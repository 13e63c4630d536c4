"""The composed cohort: real cells of CRIC set into real and phantom ground, as a crop store."""
