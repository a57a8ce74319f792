"""What a program needs and what is missing, said before it runs."""
