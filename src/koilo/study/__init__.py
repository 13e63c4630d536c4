"""Reader studies: plan, forms in and out, the trial record, and its statistics."""
