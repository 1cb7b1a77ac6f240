"""Views: pure functions from a state to an SVG picture, and the player that puts them into the page."""
