"""In the program that submits: the client of a scheduler, and how results come to it."""
