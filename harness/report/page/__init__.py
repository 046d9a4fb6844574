"""report.html: the page that a reviewer opens in the morning."""
