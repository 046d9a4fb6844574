"""The collective on several GPUs, in one program. Imports the model, speed's measurements, ranks and publish."""
