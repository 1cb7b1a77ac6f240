"""MQ Lab: message queues you can see."""
