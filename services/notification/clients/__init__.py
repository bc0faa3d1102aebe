"""Notification's ways out: auth, booking, the mail server and the words on disk, behind our ports."""
