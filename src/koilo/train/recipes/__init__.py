"""Ways of training, one a file; each has five members and knows no other."""
