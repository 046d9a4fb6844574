"""How often the verdicts err, by simulation: the rules of a real run on made-up answers whose truth is known."""
