return free
