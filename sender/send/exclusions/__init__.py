"""Who must not get a message: lists of the user, one message for each recipient, the API's suppression lists."""
