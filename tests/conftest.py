"""What all tests share: how hypothesis runs.

No deadline, because a busy machine is no fault of the code; and a failing example prints what
replays it anywhere.
"""

from hypothesis import settings

settings.register_profile("smppgate", deadline=None, print_blob=True)
settings.load_profile("smppgate")
