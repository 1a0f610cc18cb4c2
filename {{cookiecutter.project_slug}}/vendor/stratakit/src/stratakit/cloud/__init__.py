"""The tier cloud: five steps on a machine that is rented by the minute and always terminated."""
