"""Files of edits and questions as their users have them: one module a format, all alike."""
