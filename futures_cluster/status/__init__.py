"""What a scheduler knows, for people: as a table on the terminal."""
