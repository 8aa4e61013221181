"""Label issues and reports, from records alone."""
