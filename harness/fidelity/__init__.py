"""How far compression moves the model's predictions of fixed text: measured, kept, compared, judged."""
