"""What people look at and listen to: HTML pages that need nothing beside themselves, and their pictures."""
