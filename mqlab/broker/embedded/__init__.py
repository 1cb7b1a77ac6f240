"""The broker inside this course."""
