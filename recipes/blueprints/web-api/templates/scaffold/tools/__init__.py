"""Developer tools of tpl-service; not part of the service."""
