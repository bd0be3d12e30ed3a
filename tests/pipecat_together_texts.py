"""What `pipecat_together.py` says, for those who listen to it."""

GREETING = "Hello there."
REPLY = "It is a fine day. The sun is out! Shall we go for a walk in the park?"
STORY = "Once upon a time there was a king who had a great many horses, and a queen who had none at all. " * 4
LATER = "All right, I will be quiet."
NOTHING = "(...)"
