@python "%~dp0..\view_tensorboard.py" %*
