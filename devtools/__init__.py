"""What developers run and the plugin never imports: the demo, the stand-in upstream, and the rig."""
