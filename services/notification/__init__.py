"""Messages to people: mails, their delivery log, and the in-app inbox."""
