"""How the ranks' messages travel and where they are added."""
