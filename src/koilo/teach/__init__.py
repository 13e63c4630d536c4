"""Teaching: a quiz of labelled cells as one page for the browser, and the score of its answers."""
