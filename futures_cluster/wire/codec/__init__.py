"""Objects as bytes and back: functions, arguments, results, errors, large buffers."""
