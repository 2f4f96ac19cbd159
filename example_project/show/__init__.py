"""The parts of the demonstration: the mails, the server, the audit and the screen."""
