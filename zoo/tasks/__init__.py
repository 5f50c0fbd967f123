"""Raw input to arrays, arrays to answers: numpy and Pillow, never a framework."""
